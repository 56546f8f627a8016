"""How long a server takes to stop, beyond its grace, where nothing that it waits for comes."""

from __future__ import annotations

from serving import app, http_server
from serving.logs import native, writer
from serving.tracing import export, spans

# gRPC; the HTTP port and the one for probes; the log, and what native libraries write to it.
LAST_ANSWERS_S = app.LINGER_S + app.FLUSH_S + 2 * http_server.STOP_S + writer.CLOSE_S + native.JOIN_S
# A receiver of traces that does not answer.
TRACES_S = spans.CLOSE_S + export.END_S
BEYOND_GRACE_S = LAST_ANSWERS_S + TRACES_S
