"""Small tools that know nothing of runs, engines or projects."""
