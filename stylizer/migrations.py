"""The store's schema as numbered steps. A step that has been released is never changed; a new one is added below it."""

from __future__ import annotations

import sqlite3

APPLICATION = 0x5354594C
"""Written into the file's header ("STYL"), so that another program's database is not taken for ours."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            clip TEXT NOT NULL,
            look TEXT NOT NULL,
            encoding TEXT NOT NULL,
            output TEXT NOT NULL,
            backend TEXT NOT NULL,
            device TEXT NOT NULL,
            precision TEXT NOT NULL,
            state TEXT NOT NULL,
            desired TEXT NOT NULL,
            priority INTEGER NOT NULL DEFAULT 0,
            position REAL NOT NULL,
            added_at REAL NOT NULL,
            started_at REAL,
            finished_at REAL,
            error TEXT NOT NULL DEFAULT '',
            hint TEXT NOT NULL DEFAULT '',
            checkpoint TEXT,
            fit_done INTEGER NOT NULL DEFAULT 0,
            fit_total INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX jobs_by_output ON jobs (output)",
        """
        CREATE TABLE chunks (
            job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            start INTEGER NOT NULL,
            stop INTEGER NOT NULL,
            state TEXT NOT NULL DEFAULT 'ready',
            backend TEXT NOT NULL DEFAULT '',
            attempt INTEGER NOT NULL DEFAULT 1,
            failures INTEGER NOT NULL DEFAULT 0,
            frames_done INTEGER NOT NULL DEFAULT 0,
            fps REAL NOT NULL DEFAULT 0,
            worker TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            output TEXT,
            digest TEXT NOT NULL DEFAULT '',
            submitted_at REAL,
            finished_at REAL,
            PRIMARY KEY (job, position),
            CHECK (0 <= start AND start < stop)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX chunks_by_state ON chunks (state, job)",
        """
        CREATE TABLE fits (
            job INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
            state TEXT NOT NULL DEFAULT 'ready',
            backend TEXT NOT NULL DEFAULT '',
            attempt INTEGER NOT NULL DEFAULT 1,
            failures INTEGER NOT NULL DEFAULT 0,
            submitted_at REAL
        )
        """,
        """
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            job INTEGER,
            chunk INTEGER,
            kind TEXT NOT NULL,
            text TEXT NOT NULL
        )
        """,
        "CREATE INDEX events_by_job ON events (job, seq)",
        """
        CREATE TABLE measurements (
            device TEXT NOT NULL,
            precision TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            fps REAL NOT NULL,
            fit_seconds_per_step REAL NOT NULL,
            at REAL NOT NULL,
            PRIMARY KEY (device, precision, width, height)
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE jobs ADD COLUMN max_cost REAL NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN deadline REAL",
        # A number that grows with each change, so that a screen reads only what is new to it.
        "ALTER TABLE jobs ADD COLUMN changed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE chunks ADD COLUMN changed INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX jobs_by_change ON jobs (changed)",
        "CREATE INDEX chunks_by_change ON chunks (changed)",
        "CREATE INDEX jobs_by_state ON jobs (state, desired, backend)",
        "DROP INDEX chunks_by_state",
        # All that counting what is ready needs.
        "CREATE INDEX chunks_by_state ON chunks (state, job, start, stop)",
        """
        CREATE TABLE runner (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            pid INTEGER NOT NULL DEFAULT 0,
            started_at REAL NOT NULL DEFAULT 0,
            desired TEXT NOT NULL DEFAULT 'run',
            held INTEGER NOT NULL DEFAULT 0,
            inbox TEXT NOT NULL DEFAULT '',
            changes INTEGER NOT NULL DEFAULT 0
        )
        """,
        "INSERT INTO runner (one) VALUES (1)",
        """
        CREATE TABLE inbox (
            inbox TEXT NOT NULL,
            path TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            jobs TEXT NOT NULL DEFAULT '[]',
            at REAL NOT NULL,
            PRIMARY KEY (inbox, path)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX inbox_by_fingerprint ON inbox (fingerprint)",
        """
        CREATE TABLE deliveries (
            job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            target TEXT NOT NULL,
            done_at REAL,
            failures INTEGER NOT NULL DEFAULT 0,
            error TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (job, target)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE meters (
            job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            backend TEXT NOT NULL,
            day TEXT NOT NULL,
            spent TEXT NOT NULL,
            per_hour TEXT NOT NULL,
            currency TEXT NOT NULL,
            basis TEXT NOT NULL,
            at REAL NOT NULL,
            nodes TEXT NOT NULL,
            final INTEGER NOT NULL,
            PRIMARY KEY (job, backend, day)
        ) WITHOUT ROWID
        """,
    ),
    (
        # The last event that people were told of by messages; 0: begin with the next one.
        "ALTER TABLE runner ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX deliveries_by_target ON deliveries (target)",
    ),
    (
        # What jobs have cost on a day that were removed since: it counts for the day's limit all the same.
        "CREATE TABLE forgotten (day TEXT PRIMARY KEY, spent TEXT NOT NULL) WITHOUT ROWID",
    ),
    tuple(
        # What a run takes beside the painting.
        f"ALTER TABLE measurements ADD COLUMN {name} REAL NOT NULL DEFAULT 0"
        for name in ("start_seconds", "fit_start_seconds", "join_seconds_per_frame")
    ),
)

VERSION = len(STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps this file has taken; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Take the steps that are missing, all of them or none. The caller has begun the transaction and commits it."""
    for number in range(version_of(connection), VERSION):
        for statement in STEPS[number]:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
