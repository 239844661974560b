#!/bin/sh
# The server on EFS, as minecraft@.service starts it.
exec /usr/bin/python3 game.py
