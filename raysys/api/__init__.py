"""The wire: HTTP requests in Amazon Personalize's runtime and events format enter, answers leave.

`wire` turns bytes into checked messages and answers into bytes, `asgi` carries them, `app` says
which path does what, `build` puts the engine and its parts behind it as one Serve application.
Every answer, errors included, is what an unmodified AWS SDK expects.
"""
