"""How a page looks: its parts, charts, embedded pictures, and the template."""
