"""The units that may stand behind a number, each with its symbol.

Units aren't converted: 5 km and 5000 m are two answers, as are 5 km and 5 m (docs/decisions/0046).
"""

import re

DEGREE = "°"  # the symbol of an angle in degrees

_PREFIXES = {"": "", "kilo": "k", "centi": "c", "milli": "m", "micro": "\\mu ", "nano": "n", "mega": "M"}
_SPELLED = {
    f"{prefix}{name}": f"{symbol}{unit}"
    for prefix, symbol in _PREFIXES.items()
    for name, unit in (
        ("meter", "m"), ("metre", "m"), ("gram", "g"), ("liter", "L"), ("litre", "L"), ("watt", "W"),
        ("volt", "V"), ("joule", "J"), ("newton", "N"), ("pascal", "Pa"), ("hertz", "Hz"), ("ampere", "A"),
    )
}  # fmt: skip
_SYMBOL = re.compile(
    r"[kcmdn]?m|[km]?g|m?L|[mn]?s|k?N|[kM]?J|[kM]?W|[km]?V|m?A|[kM]?Pa|[kMG]?Hz|mol|rad"
    r"|[kM]?eV|k?Wh|k?cal|T|ha|acre|°[CF]|ppm|dB|[kM]?\\Omega|\\mu [mgsLAF]"
)
_OTHER = {
    "ml": "mL", "l": "L", "mile": "mi", "mi": "mi", "inch": "in", "inche": "in", "in": "in", "ft": "ft",
    "feet": "ft", "foot": "ft",
    "yard": "yd", "yd": "yd", "lb": "lb", "pound": "lb", "oz": "oz", "ounce": "oz",
    "ton": "ton", "tonne": "t", "t": "t", "second": "s",
    "sec": "s", "minute": "min", "min": "min", "hour": "h",
    "hr": "h", "h": "h", "day": "day", "week": "week", "month": "month", "year": "year", "yr": "year",
    "dollar": "$", "USD": "$", "cent": "cent", "euro": "€", "EUR": "€", "yuan": "yuan", "RMB": "yuan",
    "CNY": "yuan", "yen": "yen", "unit": "unit", "radian": "rad", "mole": "mol", "calorie": "cal", "amp": "A",
    "ohm": "\\Omega", "\\mu m": "\\mu m", "hectare": "ha", "°": DEGREE, "degree": DEGREE, "deg": DEGREE,
    "degree Celsius": "°C", "degrees Celsius": "°C", "degree Fahrenheit": "°F", "degrees Fahrenheit": "°F",
    "mph": "mi/h", "km/hr": "km/h", "kph": "km/h",
    "米": "m", "千米": "km", "公里": "km", "厘米": "cm", "毫米": "mm", "分米": "dm", "克": "g", "千克": "kg",
    "公斤": "kg", "吨": "t", "升": "L", "毫升": "mL", "秒": "s", "分钟": "min", "小时": "h", "天": "day",
    "周": "week", "年": "year", "元": "yuan", "度": DEGREE, "摄氏度": "°C", "牛": "N", "焦": "J", "瓦": "W",
    "伏": "V",
} | {counter: counter for counter in "岁角分个只人本支条辆棵页次种块张名"}  # fmt: skip
_UNITS = _SPELLED | _OTHER
_SHORT = frozenset({"cm", "km", "mm", "kg", "hr", "yr", "lb"})  # these may end in s; 5 Ns are newton-seconds
_ONE = re.compile(
    r"(?:(?P<power>square|sq\.?|cubic|平方|立方)\s?)?(?P<name>[^\d^/*]+?)\s?"
    r"(?:\^\{?(?P<raised>-?[1-9])\}?|(?P<word>squared|cubed))?"
)
_POWERS = {"square": "2", "sq": "2", "cubic": "3", "平方": "2", "立方": "3", "squared": "2", "cubed": "3"}
_JOINT = re.compile(r"\s?([/*])\s?|\s(per)\s|\s")
MAX_LENGTH = 60  # in characters; a longer text is no unit
CURRENCIES = {
    "$": "$", "US$": "$", "USD": "$", "€": "€", "EUR": "€", "£": "£", "¥": "¥", "RMB": "yuan", "CNY": "yuan",
}  # fmt: skip


def unit_symbol(text: str) -> str | None:
    """Return the symbol of a unit, such as "cm^2" for square cm and "m/s" for meters per second, or None."""
    if len(text) > MAX_LENGTH:
        return None
    if only := _one_unit(text):
        return "".join(only)
    for joint in _JOINT.finditer(text):
        left, right = _one_unit(text[: joint.start()]), _one_unit(text[joint.end() :])
        if left and right:
            divided, (symbol, power) = joint[1] == "/" or joint[2] is not None, right
            if power.startswith("^-") and not divided:  # m s^-1 is m/s
                divided, power = True, "" if power == "^-1" else f"^{power[2:]}"
            return f"{''.join(left)}{'/' if divided else '*'}{symbol}{power}"
    return None


def _one_unit(text: str) -> tuple[str, str] | None:
    """Return the symbol of a unit and its power, such as ("cm", "^2"), or None for no unit."""
    match = _ONE.fullmatch(text)
    symbol = match and _base(match["name"])
    if match is None or symbol is None:
        return None
    word = (match["power"] or match["word"] or "").rstrip(".")
    power = match["raised"] or _POWERS.get(word, "1")
    return symbol, "" if power == "1" else f"^{power}"


def _base(name: str) -> str | None:
    singular = name.removesuffix("s")
    counted = (len(singular) > 2 and singular.islower()) or singular in _SHORT
    for form in (name, singular) if counted else (name,):
        symbol = _UNITS.get(form) or (form if _SYMBOL.fullmatch(form) else None)
        if symbol:
            return symbol
    return None
