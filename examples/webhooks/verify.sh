#!/bin/sh
# Verifies a webhook by the header X-Webhook-Signature: WEBHOOK_SECRET=... verify.sh 'sha256=<hex>' < body
# The body must be the exact bytes received. Exit code 0 means that the signature is valid.
test "sha256=$(openssl dgst -sha256 -hmac "$WEBHOOK_SECRET" -r | cut -d' ' -f1)" = "$1"
