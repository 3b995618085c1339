"""What a graph can be written as: JSON, source, drawings, a page."""
