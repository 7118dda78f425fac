"""The study: what does it take to generalise, asked part by part and answered in one report."""
