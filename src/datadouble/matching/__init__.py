"""Finding a piece of one picture in another: local patches, alignment, comparison pixel by pixel."""
