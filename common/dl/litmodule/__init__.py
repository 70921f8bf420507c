"""Lightning modules: how a network is trained, whatever the network."""
