#!/usr/bin/env bash
# All checks: lint, format, types, tests with coverage, on all cores. Usage: scripts/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# Each process has one thread, and the tests of a file stay together: some share what takes long to make.
OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses auto --dist loadfile --cov --cov-report=term "$@"
