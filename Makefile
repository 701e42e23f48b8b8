.PHONY: help format check test bench
help:            ## show this
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'
format:          ## reformat the code
	ruff format . && ruff check --fix .
check:           ## lint, change nothing
	ruff format --check . && ruff check .
test:            ## run the tests
	pytest
bench:           ## speed and memory of losses against the floor
	python benchmarks/losses.py
