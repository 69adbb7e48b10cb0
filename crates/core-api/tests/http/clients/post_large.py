"""Posts five megabytes in each of these ways, and prints what comes back."""

import http.client
import json
import sys
import urllib.parse

url, rounds, *cases = sys.argv[1:]
server = urllib.parse.urlsplit(url).netloc
body = b"x" * 5_000_000

for _ in range(int(rounds)):
    for case in cases:
        path, key, media_type = case.split(" ")
        headers = {"Content-Type": media_type}
        if key:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection(server)
        try:
            # All of the body, before anything is read.
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            print(response.status, json.loads(response.read())["code"])
        except OSError as error:
            print(type(error).__name__)
        connection.close()
