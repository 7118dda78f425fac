"""The folder of a study's report: what lies in it, and nothing else does."""

PAGE, CARD, RESULTS = "report.html", "README.md", "results.parquet"
TABLES, FIGURES = "tables", "figures"
FILES = (
    *(PAGE, CARD, RESULTS),
    *(TABLES, f"{TABLES}/*.md", f"{TABLES}/*.tex"),
    *(FIGURES, f"{FIGURES}/*.svg", f"{FIGURES}/*.png"),
)
PLACEHOLDER = "PATH_OR_ID"  # where the card does not know its repository yet
