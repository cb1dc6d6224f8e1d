-- A store as schema 1 wrote it. Never changed: later versions must still load it.
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
);
CREATE INDEX jobs_by_output ON jobs (output);
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
) WITHOUT ROWID;
CREATE INDEX chunks_by_state ON chunks (state, job);
CREATE TABLE fits (
    job INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    state TEXT NOT NULL DEFAULT 'ready',
    backend TEXT NOT NULL DEFAULT '',
    attempt INTEGER NOT NULL DEFAULT 1,
    failures INTEGER NOT NULL DEFAULT 0,
    submitted_at REAL
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    job INTEGER,
    chunk INTEGER,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX events_by_job ON events (job, seq);
CREATE TABLE measurements (
    device TEXT NOT NULL,
    precision TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    fps REAL NOT NULL,
    fit_seconds_per_step REAL NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (device, precision, width, height)
) WITHOUT ROWID;
INSERT INTO jobs VALUES (3, 'key', '{"audio_tracks": 1, "codec": "h264", "duration": 2.0, "fingerprint": "mark", "frames": 48, "height": 48, "kind": "video", "notes": [], "path": "/films/clip.mp4", "pixel_format": "yuv420p", "rate": "24", "rotation": 0, "width": 64}', '{"brush": 1.0, "keep_color": false, "quality": "standard", "seed": 0, "size": null, "strength": 1.0, "styles": [{"digest": "ab", "path": "/films/art.jpg", "weight": 1.0}]}', '{"codec": "", "crf": null}', '"/films/out.mp4"', 'auto', 'auto', 'auto', 'rendering', 'run', 0, 1.0, 100.0, 101.0, NULL, '', '', '"/cache/x.safetensors"', 10, 10);
INSERT INTO chunks VALUES (3, 0, 0, 24, 'done', 'local', 1, 0, 24, 12.5, 'cpu', '', '"/films/3/3-00000-1.nut"', 'ab', 102.0, 104.0);
INSERT INTO chunks VALUES (3, 1, 24, 48, 'ready', '', 2, 1, 0, 0, '', 'It crashed.', NULL, '', NULL, NULL);
INSERT INTO fits VALUES (3, 'done', 'local', 1, 0, 101.0);
INSERT INTO events VALUES (1, 100.0, 3, NULL, 'added', 'clip.mp4 is queued.');
INSERT INTO measurements VALUES ('cpu (x)', 'auto', 64, 48, 12.5, 0.1, 104.0);
PRAGMA application_id = 1398036812;
PRAGMA user_version = 1;
