"""The program `ai-research`: sees, compares and reproduces runs by what lies in their folders."""
