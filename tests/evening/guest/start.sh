#!/bin/sh
# The server on EFS, as minecraft@.service starts it.
exec ./node game.js
