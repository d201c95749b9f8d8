#!/bin/bash
# Makes the sample project of the demo, a git repository of one commit, and becomes the runner.
set -euo pipefail
sample=/var/lib/holdfast/sample
if [[ ! -d $sample ]]; then
  rm -rf "$sample.new"
  mkdir "$sample.new"
  printf '# Sample\n\nA small project for claude to look at: it adds numbers.\n' >"$sample.new/README.md"
  printf '"""Adds the numbers on its command line."""\n\nimport sys\n\nprint(sum(map(int, sys.argv[1:])))\n' \
    >"$sample.new/add.py"
  git -C "$sample.new" init --quiet --initial-branch=main
  git -C "$sample.new" add .
  git -C "$sample.new" -c user.name=Holdfast -c user.email=holdfast@localhost \
    commit --quiet --message="Add numbers"
  mv "$sample.new" "$sample"
fi
exec runner-svc --config /etc/holdfast/runner.toml serve
