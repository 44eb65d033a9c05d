"""The Python device client: kiosks, Linux devices, and the reference for every other client.

A device trusts the root its app was built with, fetches one manifest, decides for itself, and
downloads. `core` has the rules; this package owns their order, the state folder (`home`) and the
network requests between. The lifecycle:

* `Updater.install` is run **at each start, before the app**. It downloads a release and lets the
  link `current` lead to it; the app is then served from there.
* The app, once it works, has `Updater.confirm` called. A release found unconfirmed by the next
  `install` has failed: the previous release (or the built-in app) is back before anything is
  fetched, and that tree is not tried again here.
* `Updater.check` may run at any time. It says what `install` would do, and remembers roots and the
  manifest, nothing else; a release still on trial stays so. `Updater.status` reads.
* A running bundle whose files were changed or removed on disk is fetched again by `install`.

Hence a device that looks for updates while the app runs uses `check`, or confirms before it
installs. State is saved at five points: after each root; after the manifest's checks, before any
download; after staging; after the switch; on confirmation. A run that is refused, cut or killed
leaves what runs running, and the next one goes on.
"""

from manifestgen.device.results import Action, Outcome, Status
from manifestgen.device.run import Facts
from manifestgen.device.updater import Updater, confirm, status

__all__ = ["Action", "Facts", "Outcome", "Status", "Updater", "confirm", "status"]
