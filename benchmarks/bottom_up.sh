#!/usr/bin/env bash
# Bottom-up masks against AIM on drawn birds, with and without an area loss, three seeds each (networks, data and order):
# the table and the picture of benchmarks/bottom_up.md.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/bottom_up}"
run() { # name row flags...
  for seed in 0 1 2; do
    maskexp fit --config "experiments/synthetic/$2.yaml" "${@:3}" --seed_everything "$seed" --data.seed "$seed" \
      --run_dir "$out/$1-seed$seed"
  done
}
for row in aim_1 aim bottom_up_1 bottom_up bottom_up_free; do run "$row" "$row"; done
run bottom_up_free_all bottom_up_free --model.pooling all
python benchmarks/seeds.py "$out" acc acc_worst_group epg epg_baseline epg_grad_cam mask_area
python benchmarks/bottom_up.py "$out" benchmarks/bottom_up.png
