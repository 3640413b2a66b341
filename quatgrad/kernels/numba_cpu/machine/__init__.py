"""What the processor and the system give: caches, memory, denormal numbers."""
