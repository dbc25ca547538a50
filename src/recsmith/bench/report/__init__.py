"""One self-contained HTML file that shows a plan, what was expected of it and what was seen."""
