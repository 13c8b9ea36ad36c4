"""What each error code means, what to look at first, and what to do: the texts behind `atoll help CODE`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code's meaning, its causes in the order in which to check them, and the command to go on with."""

    meaning: str
    check: tuple[str, ...]
    then: str


_SITE = "atoll check SITE"
CODES: dict[str, Explanation] = {
    "SITE-001": Explanation(
        "The site file is no TOML text.",
        ("a quote or bracket that is not closed, on the named line or the one before", "a key written twice"),
        _SITE,
    ),
    "SITE-010": Explanation(
        "A key that nothing reads, so that what it says would not happen.",
        ("its spelling (the nearest known key is named)", "the table it stands in"),
        "atoll check --schema",
    ),
    "SITE-011": Explanation(
        "A key is missing.", ("the table it belongs to, as the message names it",), "atoll check --schema"
    ),
    "SITE-012": Explanation(
        "A value of the wrong type, or outside its range.",
        ("the unit in the key's name (_w, _wh, _ms)", "quotes around a number", "a comma for a decimal point"),
        "atoll check --schema",
    ),
    "SITE-020": Explanation("Two things have the same id.", ("a copied table whose id was not changed",), _SITE),
    "SITE-021": Explanation("The time zone is not known.", ("its spelling: Region/City",), _SITE),
    "SITE-022": Explanation("The drinking-water reserve is not below the high mark.", ("both fractions",), _SITE),
    "SITE-023": Explanation("An instant that cannot be read.", ("write 2026-06-03T09:40:00Z",), _SITE),
    "SITE-030": Explanation("A site has exactly one grid meter.", ('devices with kind = "grid"',), _SITE),
    "SITE-031": Explanation(
        "Driver and kind do not go together.",
        ("robots and drones: vda5050; all others: sunspec or profile:NAME",),
        _SITE,
    ),
    "SITE-032": Explanation(
        "The device's profile does not exist, or has faults.",
        ("the name", "the variant after the dot"),
        "atoll profiles list",
    ),
    "SITE-033": Explanation("The device names a gateway that the site does not have.", ("[[gateway]] ids",), _SITE),
    "SITE-034": Explanation(
        "Two devices have the same unit id on one bus.",
        ("the id shown on each device", "only variants of one profile may share a unit"),
        "atoll scan modbus ENDPOINT",
    ),
    "SITE-035": Explanation("`behind` names no meter.", ("the meter's id",), _SITE),
    "SITE-036": Explanation("The pump names no tank.", ("the tank's id",), _SITE),
    "SITE-037": Explanation("soc_min is not below soc_max.", ("both fractions",), _SITE),
    "SITE-038": Explanation("The genset's minimum load is above its maximum.", ("power_w_min, power_w_max",), _SITE),
    "SITE-039": Explanation(
        "The endpoint names no bus, or one serial port is named in two ways.",
        ("host:port, or rtu:/dev/serial/by-id/NAME?baud=9600&parity=N&stop=1", "the same text in all its devices"),
        "ls -l /dev/serial/by-id",
    ),
    "SITE-040": Explanation("A member names a meter that does not exist.", ("the device's id or channel",), _SITE),
    "SITE-041": Explanation("Two members name one meter.", ("who is billed for it",), _SITE),
    "SITE-042": Explanation(
        "A meter belongs to no member.", ("add it to a member's usage_points or water_points",), _SITE
    ),
    "SITE-050": Explanation("A price band ends before it starts.", ("write a band across midnight as two",), _SITE),
    "SITE-051": Explanation("Price bands overlap or leave a gap.", ("from and to of the band before it",), _SITE),
    "SITE-052": Explanation("The day has no price to its end.", ("the last band ends at 24:00",), _SITE),
    "SITE-060": Explanation("A job names no vehicle.", ("the robot's or drone's id",), _SITE),
    "SITE-061": Explanation("A job names no place.", ("[[place]] ids",), _SITE),
    "SITE-090": Explanation(
        "A witness key is none.", ("copy the whole line that `atoll witness --keys` prints",), _SITE
    ),
    "SITE-091": Explanation("Two witnesses share a name.", ("atoll witness --name",), _SITE),
    "SITE-092": Explanation("More witnesses are needed than there are.", ("[ledger] quorum",), _SITE),
    "SITE-093": Explanation("A member's key is none.", ("atoll key show FILE",), _SITE),
    "SITE-094": Explanation("Two members have one key.", ("each member makes its own: atoll key new FILE",), _SITE),
    "SITE-095": Explanation(
        "Spending needs more approvals than there are officers.", ("[treasury] approvals, roles and officer",), _SITE
    ),
    "SITE-096": Explanation(
        "A step of the arrears ladder limits what it may not.",
        ('keep_percent below 100 goes with step = "limit" only; the lifeline is never limited',),
        _SITE,
    ),
    "SITE-097": Explanation(
        "More yes ballots are needed than members have a key.", ("[vote] approvals", "atoll key new FILE"), _SITE
    ),
    "SITE-098": Explanation(
        "The charter changes what the ledger keeps for life: days, units or bill periods would mix.",
        ("what the ledger has, as the message says", "or an empty data directory: a new ledger"),
        _SITE,
    ),
    "SITE-062": Explanation("A job does not fit into its window.", ("duration_ms", "the window's times"), _SITE),
    "SITE-070": Explanation(
        "Pins and the driver gpio:header go together.", ("[device.pins] of this device", "its driver"), _SITE
    ),
    "SITE-071": Explanation(
        "A pin is wanted twice, or the Pi uses it itself.",
        ("BCM numbers, not positions on the header", "the kernel's own holders"),
        "atoll pins --site SITE",
    ),
    "SITE-072": Explanation(
        "A pin is used for something that its point is not.",
        ("the points of this kind of device", "use: relay for what is switched, else switch, counter or flow"),
        _SITE,
    ),
    "SITE-073": Explanation("An interlock names no output, or no sensor.", ("the device's id",), _SITE),
    "SITE-074": Explanation(
        "An interlock's sensor hangs on another gateway: it would need the network.",
        ("both devices' gateway",),
        _SITE,
    ),
    "SITE-075": Explanation(
        "An interlock says too little to act: a limit, a time or a sensor is missing.",
        ("the rule's keys: atoll check --schema", "low and high the right way round"),
        "docs/interlocks.md",
    ),
    "SITE-076": Explanation("A [[bus]] names no device's endpoint.", ("the same text in both",), _SITE),
    "SITE-110": Explanation(
        "A work order wants a kind of machine that there is none of.", ("the kinds of [[machine]]",), _SITE
    ),
    "SITE-111": Explanation("A work order services a machine that there is not.", ("the ids of [[machine]]",), _SITE),
    "SITE-112": Explanation("No crew has all the skills of a work order.", ("the skills of [[crew]]",), _SITE),
    "SITE-113": Explanation(
        "A work order comes after one that there is not, or after itself.", ("the ids of [[work]]",), _SITE
    ),
    "SITE-114": Explanation(
        "The end of a work order is no moment.", ("date, time and offset: 2026-06-01T12:00:00+02:00",), _SITE
    ),
    "SITE-115": Explanation(
        "A span ends too soon after it begins.", ("its length against what it has to hold",), _SITE
    ),
    "SITE-116": Explanation(
        "The [emergency] table names a device that there is not.", ("the ids of [[device]]",), _SITE
    ),
    "SITE-140": Explanation("A planned island ends before it begins.", ("from and until, with their offsets",), _SITE),
    "SITE-141": Explanation("A shed tier names no meter.", ("the ids of devices with kind meter",), _SITE),
    "SITE-142": Explanation(
        "A critical meter stands in a shed tier.", ("critical = true at the meter, or the tier, is wrong",), _SITE
    ),
    "SITE-143": Explanation("A meter stands in two shed tiers, or twice in one.", ("its tier",), _SITE),
    "SITE-144": Explanation(
        "A feeder names something that puts no power on it.",
        ("the device's id", "meters, solar, batteries, gensets, pumps, chargers and thermal stores are on feeders"),
        _SITE,
    ),
    "SITE-145": Explanation("A feeder names a device twice.", ("its devices",), _SITE),
    "SITE-146": Explanation(
        "A feeder names solar whose meter is elsewhere.",
        ("`behind` of the solar plant", "solar behind a meter of the feeder is on it without being named"),
        _SITE,
    ),
    "SITE-147": Explanation("A vehicle returns at the time it leaves.", ("trip.leaves and trip.returns",), _SITE),
    "SITE-148": Explanation("A trip takes more than the pack holds.", ("trip.energy_wh, ratings.energy_wh",), _SITE),
    "SITE-201": Explanation(
        "A pump, well or water meter names a well, tank or sensor that there is not.",
        ("the ids of [[well]] and of the tanks and sensors among [[device]]",),
        _SITE,
    ),
    "SITE-202": Explanation(
        "A tank's own reserve is not below what tanks are filled to.", ("[water] high_fraction",), _SITE
    ),
    "SITE-203": Explanation(
        "What may be rationed is more than all use above the lifeline.", ("the shares of [[water.tier]]",), _SITE
    ),
    "SITE-204": Explanation(
        "A pump fills the tank that it takes from, or has a drive and batches.", ("source, speed and phase",), _SITE
    ),
    "SITE-205": Explanation(
        "The points of a drive do not rise, or power rises more slowly than flow.",
        ("the measured points: speed, L/min and W, the last one is that of `ratings`",),
        _SITE,
    ),
    "SITE-206": Explanation(
        "The table of a pressure zone is not there, or is none.",
        ("the file's name, from the folder of the site file", "made by `atoll water table` of this release"),
        "atoll water show FILE",
    ),
    "SITE-207": Explanation(
        "The table of a pressure zone names a tank or pump that the site does not have.",
        ("the names in the network file (NETWORK.inp) and the ids of [[device]]",),
        "atoll water show FILE",
    ),
    "SITE-210": Explanation(
        "A cold box names a sensor or meter that there is not.", ("the ids of [[device]]: sensor and meter",), _SITE
    ),
    "SITE-211": Explanation(
        "The limits and the target of a cold box do not rise.", ("low_c, target_c, high_c: vaccines 2, 5, 8",), _SITE
    ),
    "SITE-212": Explanation(
        "A cold box cannot reach its target where it stands.",
        ("ua_w_per_k, cop and power_w_max on its plate", "ambient_c, and a cooler place for it"),
        _SITE,
    ),
    "COLD-001": Explanation(
        "A fridge for vaccines or medicine will pass a limit, or has: the alarm `cold.ID` says when and why.",
        (
            "the door, and what stands in it",
            "the plug, its fuse and the house's power",
            "the compressor: does it hum, is the grille at the back warm and free of dust",
            "too cold: the thermostat; vaccines spoil by frost too",
            "not mended in time: a box with ice packs (none touching the vials), another fridge, a flight",
        ),
        "atoll status   and note the temperature with each hour: atoll ack cold.ID --note TEXT",
    ),
    "COLD-002": Explanation(
        "The thermometer of a fridge for vaccines or medicine does not report.",
        ("a thermometer inside the box: write the temperature down", "the sensor's supply and wires, its unit id"),
        "atoll read DEV",
    ),
    "SITE-220": Explanation(
        "Fields or crops stand in the file, and no climate.",
        ("[climate]: t_min_c, t_max_c and rain_mm by month",),
        _SITE,
    ),
    "SITE-221": Explanation(
        "A month's minimum temperature is above its maximum.", ("the twelve values of both",), _SITE
    ),
    "SITE-222": Explanation("One job waters two fields.", ("watered_by: a job for each field",), _SITE),
    "SITE-223": Explanation("A span for dosing is none.", ('["06:00", "09:00"], from before until',), _SITE),
    "SITE-224": Explanation(
        "A field, batch or delivery names a job, crop or food store that there is not.",
        ("the ids of [[job]], [[crop]] and [[food_store]]",),
        _SITE,
    ),
    "SITE-230": Explanation(
        "A digester names an engine or sensor that there is not.", ("the ids of [[device]]: genset and sensor",), _SITE
    ),
    "SITE-231": Explanation("Two digesters name one engine.", ("the engine of each",), _SITE),
    "SITE-232": Explanation(
        "A gas holder has no room above what must stay in it.", ("holder_min_m3, holder_m3",), _SITE
    ),
    "SITE-233": Explanation(
        "One run of a yard's machine takes more than ever waits there.", ("kg_per_h, batch_ms and most_kg",), _SITE
    ),
    "SITE-149": Explanation(
        "A trip limit contradicts itself.", ("at_pct or at_hz, not both; its side; ms_min up to ms_max",), _SITE
    ),
    "SITE-150": Explanation("The network names a node that there is not.", ("the ids of [[network.node]]",), _SITE),
    "SITE-151": Explanation(
        "The lines of the network make a ring; it is planned as a tree.",
        ("the line that is open in normal service: leave it out",),
        _SITE,
    ),
    "SITE-152": Explanation("A node of the network has no line from the root.", ("from and to of the lines",), _SITE),
    "SITE-153": Explanation("A device hangs on two nodes of the network.", ("where it is connected",), _SITE),
    "SITE-154": Explanation(
        "The network's voltage without load is outside its own limits.", ("source_pu, low_pu and high_pu",), _SITE
    ),
    "SITE-155": Explanation(
        "The temperatures of a thermal store are not in order.",
        ("heat: ambient_c below low_c below high_c", 'use = "cold": low_c below high_c below ambient_c'),
        _SITE,
    ),
    "SITE-156": Explanation("An appliance names no relay.", ("the ids of devices with kind relay",), _SITE),
    "SITE-157": Explanation("`behind` of a relay names no meter.", ("the meter's id",), _SITE),
    "SITE-158": Explanation(
        "A relay that sheds load is behind no meter of a shed tier.", ("behind; usage_points of the tiers",), _SITE
    ),
    "SITE-159": Explanation("A relay that sheds load runs an appliance too.", ("a relay of its own for each",), _SITE),
    "SITE-180": Explanation(
        "A zone's corners make no area.", ("their order: around the zone, sides must not cross",), "docs/vehicles.md"
    ),
    "SITE-181": Explanation(
        "A zone has a key that its kind does not know.",
        ("ceiling_m: geofence only", "speed_mps: people only"),
        "docs/vehicles.md",
    ),
    "SITE-182": Explanation(
        "A mavlink table stands at a robot, or two drones have one endpoint.",
        ('kind = "drone"', "one UDP port or radio for each"),
        "docs/vehicles.md",
    ),
    "SITE-183": Explanation(
        "A MAVLink drone has no geofence, or flies above its ceiling.",
        ('[[zone]] kind = "geofence"', "ceiling_m and height_m"),
        "docs/vehicles.md",
    ),
    "SITE-184": Explanation("A flight authorisation names no drone.", ("the drone's id",), _SITE),
    "SITE-185": Explanation(
        "A job's straight way from the dock enters a closed zone, or leaves the geofence.",
        ("the place's x and y", "the zone's corners"),
        "docs/vehicles.md",
    ),
    "SITE-186": Explanation(
        "Two vehicles have the same topics, or a MAVLink drone has topics of its own.",
        ("interface, manufacturer and serial of each vehicle",),
        "docs/vehicles.md",
    ),
    "PROF-001": Explanation(
        "A profile has a fault; all its faults are listed.",
        ("the named table and key", "the keys that there are: devices/profile_schema.py"),
        "atoll profiles check FILE",
    ),
    "BUS-001": Explanation(
        "The bus itself cannot be used: no such port or host, no permission, or another owner.",
        (
            "the adapter is plugged in: ls -l /dev/serial/by-id",
            "no other program has the port: a gateway that runs, ModemManager",
            "this user is in the group dialout",
            "TCP: the host answers, and the device takes one more connection",
        ),
        "atoll scan modbus ENDPOINT --quick",
    ),
    "BUS-002": Explanation(
        "Something is heard on the bus that is no Modbus.",
        (
            "another master on the same bus",
            "baud rate and parity of this device",
            "termination (120 ohm at both ends only) and bias",
            "shield and ground; cable beside a motor's",
        ),
        "atoll scan modbus rtu:PORT (without settings: tries the usual ones)",
    ),
    "BUS-003": Explanation(
        "The device does not answer.",
        (
            "the unit id that its display shows",
            "its supply",
            "A and B at this device (swapped is the most frequent fault of all)",
            "baud rate and parity of this device",
        ),
        "atoll scan modbus ENDPOINT --quick",
    ),
    "BUS-004": Explanation(
        "The device answers, but refuses these registers.",
        ("the profile or its variant: another model or firmware", "the device's password or remote mode"),
        "atoll profiles list",
    ),
    "WRITE-001": Explanation(
        "The point cannot be written: read-only, no such control, or the value is out of range.",
        ("read_only in the site file", "the range in the message", "the sign rule: charging is positive"),
        "atoll read DEV",
    ),
    "WRITE-002": Explanation(
        "The device took the write but reads back something else.",
        ("its remote or local switch", "its own limits", "the scale: compare with its display"),
        "atoll read DEV --raw",
    ),
    "WRITE-003": Explanation(
        "A write could not be taken back: the device may still hold the value.",
        ("the device itself: switch it to local or off", "its supply and wires", "then read it"),
        "atoll read DEV",
    ),
    "BACKUP-001": Explanation(
        "The file is no backup, or it was cut off or altered.",
        ("the copy: compare its size with the original", "the stick or card it came from", "an older backup"),
        "atoll restore FILE --check",
    ),
    "BACKUP-002": Explanation(
        "The data directory is not empty; nothing is written over silently.",
        ("--data-dir: is it the one you mean?", "--replace moves what is there aside, it deletes nothing"),
        "atoll restore FILE --data-dir DIR --replace",
    ),
    "BACKUP-003": Explanation(
        "Restoring would make a second truth: something runs there, or the ledger there knows more than the backup.",
        (
            "stop hub and gateways first",
            "a newer backup",
            "only where the newer ledger is lost for good: --older; gateways send unacknowledged records again",
            "where witnesses have seen what is lost: --new-log, and a fresh witness (docs/commands.md)",
        ),
        "atoll ledger verify DATA_DIR",
    ),
    "CFG-001": Explanation(
        "A change of the site file waits for its confirmation; only one can wait.",
        ("does all work with it? Then confirm it", "else take it back"),
        "atoll config confirm   or   atoll config rollback",
    ),
    "CFG-002": Explanation(
        "There is no change to confirm: it was confirmed, taken back by itself, or the file was edited since.",
        ("atoll config show says what is in force", "the text that was not confirmed stands in SITE.rejected"),
        "atoll config apply SITE.rejected",
    ),
    "MQTT-001": Explanation(
        "The broker does not answer, or refuses.",
        ("its host and port", "user and password", "a firewall; `listener` in its file: localhost only?"),
        "atoll doctor --broker HOST:PORT",
    ),
    "MQTT-002": Explanation(
        "The device has said nothing while we listened.",
        (
            "its topic: atoll scan mqtt HOST:PORT --seconds 70",
            "the broker that it is set to",
            "how often it speaks: --seconds",
        ),
        "atoll scan mqtt HOST:PORT --seconds 70",
    ),
    "GPIO-001": Explanation(
        "This machine shows no GPIO chip that may be opened.",
        ("a Raspberry Pi?", "this user is in the group gpio", "a container: --device /dev/gpiochip0"),
        "ls -l /dev/gpiochip*",
    ),
    "SITE-063": Explanation("A delivery names no place.", ("[[place]] ids",), _SITE),
    "SITE-064": Explanation(
        "A transfer, and only a transfer, says where it comes from.", ("kind and from_place of the delivery",), _SITE
    ),
    "SITE-065": Explanation(
        "A delivery's window ends before it starts, or before the goods are ready.", ("window and ready_at",), _SITE
    ),
    "SITE-066": Explanation("No vehicle of the site can bring this.", ("by, and the site's robots and drones",), _SITE),
    "SITE-067": Explanation("A drone cannot bring this.", ("mass_kg, kind and by of the delivery",), _SITE),
    "SITE-068": Explanation("A delivery names no member.", ("[[member]] ids",), _SITE),
    "EDGE-001": Explanation(
        "A pulse meter has run for six hours without a pause of a quarter of an hour: a leak, or a tap left open.",
        (
            "taps, cisterns, irrigation behind this meter",
            "close the valve behind the meter: if it still turns, the pipe between leaks",
            "the alarm clears by itself after 15 minutes without a pulse",
        ),
        "atoll read DEV --watch",
    ),
    "EDGE-002": Explanation(
        "A pulse meter has trickled for ten minutes, below 2 % of flow_lpm_max.",
        ("a dripping tap or cistern", "a clogged filter or strainer", "flow_lpm_max of the pin: is it this meter's?"),
        "atoll read DEV --watch",
    ),
    "EDGE-003": Explanation(
        "A pulse meter with a direction input turns backwards.",
        (
            "the non-return valve behind the meter",
            "the meter's arrow, and the two wires of pulse and direction",
            "pressure: a tank above, a pump that stopped",
        ),
        "docs/pins.md",
    ),
    "EDGE-004": Explanation(
        "Pulses come closer together than the greatest flow allows; they are taken for noise and not counted.",
        ("a long unshielded cable beside a motor's", "a reed contact that bounces: debounce_ms", "flow_lpm_max"),
        "docs/pins.md",
    ),
    "EDGE-005": Explanation(
        "A device reads back another value than it was told, in two polls or more.",
        (
            "its remote/local switch, or a password",
            "limits of its own: state of charge, temperature, the maker's portal",
            "an interlock in the device; the scale of its profile",
        ),
        "atoll read DEV --raw",
    ),
    "EDGE-006": Explanation(
        "The hub runs, and yet a gateway has had no setpoint for this output since the last one ran out.",
        (
            "the gateway's log: setpoint-refused says why (superseded: an old hub still sends)",
            "clocks and speed of hub and gateway are of one run",
            "messages from hub to gateway are lost: the network",
        ),
        "journalctl -u 'atoll-gateway-*' | grep setpoint-refused",
    ),
    "EDGE-007": Explanation(
        "A device does not report: its gateway gets no answer, or a vehicle is silent.",
        ("its supply", "its wires: A and B, termination", "its unit id; a vehicle: its radio and battery"),
        "atoll device test ID",
    ),
    "EDGE-008": Explanation(
        "More than half of a gateway's devices do not report: they share a cause.",
        ("the cable or adapter between gateway and bus", "the supply that they share", "one device that jams the bus"),
        "atoll scan modbus ENDPOINT --quick",
    ),
    "EDGE-009": Explanation(
        "A gateway is silent: its devices run on their own safe values, its records wait there.",
        ("its power and network", "the service on it: atoll service status", "the broker's address that it was given"),
        "atoll doctor",
    ),
    "EDGE-010": Explanation(
        "A sensor stands still: its registers while power flows, or its level while water is pumped in.",
        (
            "its display: does that move?",
            "an interface that hangs: switch the device, or its gateway's adapter, off and on",
            "a float that sticks, a probe that lies dry or has fallen",
            "a meter that counts nothing: energy is lost to the books until it is changed (atoll device replace)",
        ),
        "atoll device test ID --samples 10",
    ),
    "EDGE-011": Explanation(
        "A level, charge or fuel leapt by a tenth or more between two readings.",
        ("was it filled, swapped, recalibrated?", "the probe's cable and plug", "two devices under one unit id"),
        "atoll read DEV --watch",
    ),
    "EDGE-012": Explanation(
        "Over three hours the powers of all devices on the bus do not sum to zero.",
        (
            "a load or source without a meter: give it one, or live with this",
            "a current transformer turned round, on the wrong phase or of another ratio",
            "a meter that drifts, or that somebody has meddled with",
            "behind = of a device that hangs behind another's meter",
        ),
        "atoll device test FEEDER --balance",
    ),
}
