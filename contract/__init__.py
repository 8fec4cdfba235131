"""What is spoken here, for machines: ``static/openapi.json``, ``static/asyncapi.json``, made of the code."""
