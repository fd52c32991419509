"""Weight decay and L2 regularization, plain, with momentum and with Adam."""
