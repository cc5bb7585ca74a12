"""Prints which jobs have ended, as Atelier tells it: python webhook_receiver.py SECRET [PORT]."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError  # pip install standardwebhooks

seen: set[str] = set()  # a message may come twice, with the same id


class Receiver(BaseHTTPRequestHandler):
    """Takes messages that are signed with the secret, and refuses all others."""

    def do_POST(self) -> None:
        """Answer at once; what takes long is done afterwards."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): text for name, text in self.headers.items()}
        try:
            message = Webhook(sys.argv[1]).verify(body, headers)
        except WebhookVerificationError:
            self.send_error(401)
            return
        self.send_response(204)
        self.end_headers()
        if headers["webhook-id"] not in seen:
            seen.add(headers["webhook-id"])
            print(message["type"], message["data"]["id"], message["data"]["version"], flush=True)


HTTPServer(("127.0.0.1", int([*sys.argv, 9000][2])), Receiver).serve_forever()
