#!/usr/bin/env bash
# ERM against AIM on drawn birds, three seeds each (networks, data and order), and the table of the README.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/synthetic}"
for seed in 0 1 2; do
  for method in erm aim; do
    maskexp fit --config "experiments/synthetic/$method.yaml" --seed_everything "$seed" --data.seed "$seed" \
      --run_dir "$out/$method-seed$seed"
  done
done
python benchmarks/seeds.py "$out"
