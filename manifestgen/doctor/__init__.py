"""Look a project over: keys, site, live origin and app; every finding comes with its fix.

`examine` runs them all; `keys`, `site`, `live` and `app` are lists of small checks, one area each.
`live` runs those of `documents` and `questions`; `ask` makes single requests, `literal` reads a
configuration that is a program, `git` asks git.
"""

from manifestgen.doctor.examine import Request, examine
from manifestgen.doctor.finding import Area, Finding, Severity

__all__ = ["Area", "Finding", "Request", "Severity", "examine"]
