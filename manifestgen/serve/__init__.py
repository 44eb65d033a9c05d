"""The site over HTTP on the machine of a developer, answered as the nginx configuration would.

`answer` decides what a request is told, `faults` how it goes wrong on demand, `visits` who asked,
`rendered` what a stock plugin hears where no address is configured; `server` listens.
"""

from manifestgen.serve.answer import Site
from manifestgen.serve.faults import Fault, Faults, parse_fault
from manifestgen.serve.server import Server, lan_address
from manifestgen.serve.visits import Visit

__all__ = ["Fault", "Faults", "Server", "Site", "Visit", "lan_address", "parse_fault"]
