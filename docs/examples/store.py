"""A consumer's own database: its position changes in the transaction that has its effects.

The effect here is one row an event. Yours is whatever you do with events; do it in `apply`.
"""

import json
import sqlite3


class Store:
    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER)")
        self.db.execute("INSERT OR IGNORE INTO position VALUES (1, 0)")
        # No key that would hide an event which is applied twice.
        self.db.execute("CREATE TABLE IF NOT EXISTS seen (nth INTEGER PRIMARY KEY, id TEXT, event TEXT)")

    def position(self):
        return self.db.execute("SELECT at FROM position").fetchone()[0]

    def apply(self, event):
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self.db.execute("INSERT INTO seen (id, event) VALUES (?, ?)", (event["id"], json.dumps(event)))
            self.db.execute("UPDATE position SET at = ?", (int(event["position"]),))
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
