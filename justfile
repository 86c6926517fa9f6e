# What there is to do here; `uv run just RECIPE` runs one in the project's environment.

# List the recipes
default:
    @just --list

# Everything that needs no server: format, lint, types, layers, links, what must not be committed
check:
    ruff format --check .
    ruff check .
    mypy
    lint-imports
    python .ci/hosts.py
    python .ci/links.py

# The tests, on real servers that they start themselves
test *ARGS:
    pytest -n 2 --dist loadgroup {{ARGS}}

# The faults and kills for as long as you like: SECONDS for each
soak SECONDS="120":
    STREAMFEA_TEST_SECONDS={{SECONDS}} pytest tests/faults --timeout 3600 -x

# The main job on embedded servers and real data
demo *ARGS:
    streamfea demo {{ARGS}}

# Measure everything beside other ways to do it, and write docs/benchmarks.md; or some: `just bench slow idle`
bench *ARGS:
    uv run --quiet --extra bench python -m benchmarks {{ARGS}}

# Has it become slower? Ratios to a bare COPY loop; fails when one has fallen
bench-quick:
    python -m benchmarks quick

# Where the time of a record goes
profile *ARGS:
    uv run --quiet --extra bench python -m benchmarks profile {{ARGS}}

# Format, and mend what the linter can
fmt:
    ruff format .
    ruff check --fix .

# Check the links of the documentation, which is plain Markdown
docs:
    python .ci/links.py

# Take the newest versions and write them into pyproject.toml, so that a fresh clone gets what was tested
pin:
    uv lock --upgrade
    python .ci/pin.py
    uv sync
