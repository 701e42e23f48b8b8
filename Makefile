.PHONY: help format check test site bench
help:            ## show this
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'
format:          ## reformat the code
	ruff format . && ruff check --fix .
check:           ## lint, change nothing
	ruff format --check . && ruff check .
test:            ## run the tests
	pytest -n auto --dist worksteal
site:            ## build the documents and the reference into build/site
	python tools/build_site.py
bench:           ## speed and memory of losses against the floor
	python benchmarks/losses.py
