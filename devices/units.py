"""Units and the one sign rule.

Sign: **positive = from the bus into the device**. A load or a charging battery is positive; PV, a running
genset and a discharging battery are negative; the grid connection is a device too, so importing from the
grid is negative, and the powers of all devices on the bus sum to zero. Drivers flip at the edge and nowhere
else. Energy *registers* never go backwards and are named from the customer's side of the meter:
`import_wh` is what the household took (for `grid-1`: what the community took from the grid), `export_wh`
what it gave.

Units inside: W; Wh for registers (whole); uWh for shares (whole); mL; minor money units (whole); ms;
degrees C; fractions 0-1. Only the planner uses kW and kWh floats.
"""

UWH_PER_WH = 1_000_000
ML_PER_L = 1_000
W_PER_KW = 1_000
