#!/bin/sh
# Verifies a webhook by its X-Webhook-Signature header: WEBHOOK_SECRET=... verify.sh 'sha256=<hex>' < body
# The body must be the very bytes that came. Exit code 0 means that it is ours.
test "sha256=$(openssl dgst -sha256 -hmac "$WEBHOOK_SECRET" -r | cut -d' ' -f1)" = "$1"
