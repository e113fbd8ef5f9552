use router_core as _;
