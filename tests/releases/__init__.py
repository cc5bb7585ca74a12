"""What earlier releases left: their code, and a data folder that they wrote; kept for all later ones."""
