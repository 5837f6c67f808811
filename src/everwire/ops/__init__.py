"""What those who run a hub need: how it does, how much more it can take, how many nodes a load needs."""
