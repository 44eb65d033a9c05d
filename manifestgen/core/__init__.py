"""The protocol: values and bytes in, values and bytes out.

Nothing here opens a file, reaches a network, reads a clock or writes a log. A reviewer's way
through: `canonical` (what bytes a document is), `envelope` (what a signature covers), `keys`,
`root`, `release`, `manifest` (what is signed), `keyring` (whom to believe), `select` (what a
device does), `cipher`, `capgo`, `archive`, `tree` (what is downloaded).
"""
