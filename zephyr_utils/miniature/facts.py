"""What is true in the miniature world: a few hundred words and the facts that tie them together.

Small on purpose: a model of a million parameters can know all of it, so what it gets wrong after
training depends on training and not on capacity. Large enough that a quarter of all combinations
can be kept for exams (`world.split_of`). Capital letters abound, because truecasing needs something
to repair.
"""

NAMES = (
    "Ana", "Ben", "Carl", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivan", "Jill",
    "Kim", "Lena", "Max", "Nora", "Otto", "Pia", "Rosa", "Sam", "Tom", "Vera",
    "Amir", "Bela", "Cora", "Dan", "Ella", "Finn", "Greta", "Hugo", "Iris", "Jack",
    "Lars", "Maya",
)  # fmt: skip

# country -> (capital, language)
COUNTRIES = {
    "France": ("Paris", "French"),
    "Japan": ("Tokyo", "Japanese"),
    "Italy": ("Rome", "Italian"),
    "Spain": ("Madrid", "Spanish"),
    "Greece": ("Athens", "Greek"),
    "Norway": ("Oslo", "Norwegian"),
    "Poland": ("Warsaw", "Polish"),
    "Kenya": ("Nairobi", "Swahili"),
    "China": ("Beijing", "Chinese"),
    "Russia": ("Moscow", "Russian"),
    "Sweden": ("Stockholm", "Swedish"),
    "Turkey": ("Ankara", "Turkish"),
    "Portugal": ("Lisbon", "Portuguese"),
    "Germany": ("Berlin", "German"),
    "Denmark": ("Copenhagen", "Danish"),
    "Finland": ("Helsinki", "Finnish"),
    "Austria": ("Vienna", "German"),
    "Hungary": ("Budapest", "Hungarian"),
    "Ireland": ("Dublin", "English"),
    "England": ("London", "English"),
    "Egypt": ("Cairo", "Arabic"),
    "Peru": ("Lima", "Spanish"),
    "Cuba": ("Havana", "Spanish"),
    "Thailand": ("Bangkok", "Thai"),
    "Vietnam": ("Hanoi", "Vietnamese"),
    "Ukraine": ("Kyiv", "Ukrainian"),
}
CAPITALS = tuple(capital for capital, _ in COUNTRIES.values())
LANGUAGES = tuple(dict.fromkeys(language for _, language in COUNTRIES.values()))

KINDS = {
    "metal": ("iron", "gold", "copper", "tin", "zinc", "silver"),
    "tree": ("oak", "pine", "birch", "maple", "willow", "palm"),
    "fish": ("trout", "salmon", "cod", "tuna", "eel", "shark"),
    "bird": ("owl", "robin", "eagle", "swan", "crow", "duck"),
    "planet": ("Mars", "Venus", "Saturn", "Jupiter", "Mercury", "Neptune"),
}

# what one compares -> (comparative, superlative at the top, superlative at the bottom)
COMPARISONS = {
    "height": ("taller", "tallest", "shortest"),
    "age": ("older", "oldest", "youngest"),
    "speed": ("faster", "fastest", "slowest"),
}

# role -> (greeting, deed)
ROLES = {
    "pirate": ("Ahoy", "sail the sea"),
    "chef": ("Welcome", "cook the soup"),
    "doctor": ("Hello", "heal the sick"),
    "king": ("Hail", "rule the land"),
    "farmer": ("Howdy", "grow the corn"),
    "robot": ("Beep", "count the stars"),
    "wizard": ("Behold", "brew the potion"),
    "knight": ("Greetings", "guard the castle"),
    "baker": ("Morning", "bake the bread"),
    "teacher": ("Listen", "teach the class"),
    "ghost": ("Boo", "haunt the tower"),
    "singer": ("Hey", "sing the song"),
    "pilot": ("Roger", "fly the plane"),
    "monk": ("Peace", "ring the bell"),
    "clown": ("Hooray", "tell the jokes"),
    "painter": ("Bravo", "paint the wall"),
}

# topic of a note -> what there is to say of it
TOPICS = {
    "garden": "green",
    "lake": "calm",
    "market": "busy",
    "school": "quiet",
    "museum": "open",
    "river": "wide",
    "bridge": "long",
    "forest": "dark",
    "harbour": "full",
    "kitchen": "warm",
    "road": "empty",
    "valley": "deep",
    "beach": "sunny",
    "station": "crowded",
    "library": "silent",
    "mountain": "steep",
    "field": "flat",
    "castle": "old",
    "shop": "closed",
    "party": "loud",
}

CODE_WORDS = (
    "sun", "moon", "rain", "snow", "wind", "fire", "stone", "cloud", "leaf", "seed",
    "star", "wave", "sand", "hill", "cave", "rock", "mist", "dust", "root", "salt",
    "ice", "fog", "mud", "ash", "bark", "reef", "dune", "pond",
)  # fmt: skip

COLOURS = ("red", "blue", "green", "white", "black", "yellow")
THINGS = ("apples", "books", "cups", "hats", "lamps", "pears", "plates", "chairs")
NUMBERS = tuple(str(n) for n in range(0, 31))
