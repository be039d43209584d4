"""The demo: a simulated C-arm and the registration node, in processes of their own, over DDS."""
