"""Text to sound by the server's model `tts`: the client, and what client and server agree on."""
