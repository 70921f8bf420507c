"""`python -m common.cli` is `ai-research`."""

from common.cli.program import main

main()
