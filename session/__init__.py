"""All state and rules of Keepseat, without a web framework. Reading order:

`protocol` (the wire) and `recovery` (positions, the lineage rule): what is promised. `keys` and
`lua/prelude.lua`: where it lies in Redis. `line` and `store`: how it is asked for. `leases`: who may
act on what he knows. `log`, `hub`, `bell`, `listener`, `watch`: from a publication to the sockets, and
the repair of every gap. `rooms`, `events`, `manager`, `sign_ins`, `tokens`: the services. `sale` and
`lua/shared`, `seats` with `catalog`, `waiting_room`: the services of a sale. `boards`, `lobby` with
`crowd`: what this server's users are told of it. `entrance` (connect and restore), `commands`,
`line_commands`, `seat_commands` with `naming` (the one table), `presence`, `ticker` and `janitor` (timed
work): what puts them together.
"""
