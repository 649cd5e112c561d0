"""A whole plant on one machine, for `edgetwin demo`: broker, Modbus device, machines, daemon."""
