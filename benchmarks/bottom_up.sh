#!/usr/bin/env bash
# Bottom-up masks against AIM on drawn birds, with and without an area loss, three seeds each (networks, data and order):
# the table and the pictures of benchmarks/bottom_up.md.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/bottom_up}"
run() { # name row flags...
  for seed in 0 1 2; do
    maskexp fit --config "experiments/synthetic/$2.yaml" "${@:3}" --seed_everything "$seed" --data.seed "$seed" \
      --run_dir "$out/$1-seed$seed"
  done
}
for row in aim_1 aim aim_free bottom_up_1 bottom_up bottom_up_free; do run "$row" "$row"; done
for method in aim bottom_up; do run "${method}_free_all" "${method}_free" --model.pooling all; done
python benchmarks/seeds.py "$out" acc acc_worst_group epg epg_baseline epg_grad_cam mask_area
python benchmarks/bottom_up.py "$out" benchmarks/bottom_up.png aim bottom_up bottom_up_free bottom_up_free_all
python benchmarks/bottom_up.py "$out" benchmarks/bottom_up_aim_free.png aim_free aim_free_all
