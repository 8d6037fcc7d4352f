#!/bin/sh
# Starts TensorFlow Serving once the gateway has written its model config file, without which it would end:
# start.sh FLAG ...
set -eu
config=/config/models.config
server=

# It has no handler for SIGTERM, so as the container's first process it would not end before it is killed.
trap 'if [ -n "$server" ]; then kill "$server"; fi; exit 0' TERM INT
until [ -s "$config" ]; do sleep 0.2; done
tensorflow_model_server --model_config_file="$config" "$@" &
server=$!
wait "$server"
