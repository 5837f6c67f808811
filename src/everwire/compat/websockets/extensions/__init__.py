"""The extensions of the protocol: permessage-deflate is the only one."""
