"""Training loops other than fastjvae's, each one file to run and to copy from.

The model is a plain ``torch.nn.Module`` and its loss a tensor, so any loop can train it. Several
processes share a batch in every example, and then train as one process does with the whole batch.
"""
