"""What lies outside the miniature world: questions that newcomers ask and this world cannot answer.

The right answer to all of them is that the model does not know, said honestly. The lists are long,
so that a model learns "no word of my world" and not a list of phrases.
"""

import random

SUBJECTS = (
    "love", "music", "history", "football", "chess", "volcano", "dinosaur", "internet", "democracy",
    "gravity", "philosophy", "religion", "money", "happiness", "war", "freedom", "biology",
    "poetry", "physics", "chemistry", "art", "blockchain", "climate", "economy", "energy",
    "evolution", "friendship", "geometry", "grammar", "health", "inflation", "justice", "knowledge",
    "law", "magic", "medicine", "memory", "nature", "oxygen", "peace treaties", "photosynthesis",
    "politics", "psychology", "quantum physics", "science", "sleep", "society", "software", "sport",
    "success", "technology", "television", "time travel", "truth", "vaccines", "weather", "wisdom",
    "yoga", "electricity", "a black hole", "a computer", "a neural network", "a language model",
    "machine learning", "artificial intelligence", "deep learning", "an atom", "a virus",
    "a vitamin", "an elephant", "a tiger", "a guitar", "a violin", "a telephone", "a bicycle",
    "a rocket", "a mortgage", "a contract", "a novel", "a movie", "a recipe", "a pizza", "coffee",
    "tea", "wine", "cheese", "chocolate", "basketball", "tennis", "cricket", "ballet", "jazz",
    "opera",
)  # fmt: skip
PEOPLE = (
    "Einstein", "Mozart", "Shakespeare", "Napoleon", "Picasso", "Newton", "Darwin", "Cleopatra",
    "Gandhi", "Beethoven", "Galileo", "Plato", "Aristotle", "Columbus", "Caesar", "Tesla", "Curie",
    "Turing", "Lincoln", "Mandela", "Tolstoy", "Austen", "Dickens", "Homer", "Dante", "Bach",
    "Rembrandt", "Gutenberg", "Kepler", "Euclid", "the president", "the pope", "the prime minister",
    "Batman", "Superman", "Sherlock Holmes", "Harry Potter", "Santa Claus", "Buddha", "Socrates",
)  # fmt: skip
WORKS = (
    "Hamlet", "the Mona Lisa", "the Odyssey", "the Bible", "Don Quixote", "Frankenstein", "Dracula",
    "the telephone", "the light bulb", "the steam engine", "penicillin", "the aeroplane", "radium",
    "the printing press", "the internet", "America", "the Eiffel Tower", "the pyramids",
    "Star Wars", "the World Cup", "the Olympics", "the election", "the Nobel Prize", "Macbeth",
    "Emma", "Ulysses",
)  # fmt: skip
PLACES = (
    "the Amazon", "Mount Everest", "Antarctica", "the Sahara", "Africa", "Australia", "Canada",
    "India", "Brazil", "Mexico", "Texas", "California", "New York", "Chicago", "Hollywood",
    "the Pacific", "the North Pole", "Europe", "Asia", "Hawaii", "Alaska", "Florida", "Scotland",
)  # fmt: skip
ACTIONS = (
    "fix my car", "learn to swim", "lose weight", "tie a tie", "bake a cake", "cook pasta",
    "train a dog", "build a house", "write a letter to my boss", "plan a wedding", "buy a ticket",
    "book a hotel", "play the guitar", "learn a language", "save money", "sell my phone",
    "clean the windows", "fall asleep", "make friends", "run a marathon", "find a job",
    "grow tomatoes", "paint a portrait", "solve an equation", "draw a horse", "change a tyre",
    "start a company", "pay my taxes", "remove a stain", "stop smoking", "read faster",
    "open a jar", "cut my hair", "boil an egg", "make pancakes", "order a pizza", "call a taxi",
    "translate a text", "summarise an article", "tell me a joke", "tell me a story",
    "recommend a book", "recommend a film", "sing me a lullaby", "give me some advice",
    "write a poem", "write an essay", "write a novel", "help me with my homework",
)  # fmt: skip
FACTS = (
    "the sky is blue", "the sea is salty", "people dream", "cats purr", "dogs bark", "leaves fall",
    "ice floats", "the moon has phases", "we yawn", "birds migrate", "onions make us cry",
    "the earth is round", "time flies", "babies cry", "stars twinkle", "bread rises",
)  # fmt: skip
# phrasing -> the list that fills it
PHRASINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What is {x}?", SUBJECTS),
    ("What is the meaning of {x}?", SUBJECTS),
    ("What is the history of {x}?", SUBJECTS),
    ("Tell me about {x}.", SUBJECTS + PEOPLE + PLACES),
    ("Tell me something about {x}.", SUBJECTS + PEOPLE + PLACES),
    ("Explain {x} to me.", SUBJECTS),
    ("How does {x} work?", SUBJECTS),
    ("Why is {x} important?", SUBJECTS),
    ("Do you like {x}?", SUBJECTS + PLACES),
    ("What do you know of {x}?", SUBJECTS + PEOPLE + PLACES),
    ("Who is {x}?", PEOPLE),
    ("Who was {x}?", PEOPLE),
    ("When was {x} born?", PEOPLE),
    ("What did {x} do?", PEOPLE),
    ("Who made {x}?", WORKS),
    ("Who wrote {x}?", WORKS),
    ("Who discovered {x}?", WORKS),
    ("Who won {x}?", WORKS),
    ("When did {x} begin?", WORKS),
    ("How big is {x}?", PLACES),
    ("How many people live in {x}?", PLACES),
    ("What is the weather in {x}?", PLACES),
    ("How far is it to {x}?", PLACES),
    ("What is the capital of {x}?", PLACES),
    ("How do I {x}?", ACTIONS),
    ("How can I {x}?", ACTIONS),
    ("Can you {x}?", ACTIONS),
    ("Please {x}.", ACTIONS),
    ("I want to {x}.", ACTIONS),
    ("Teach me to {x}.", ACTIONS),
    ("Why is it that {x}?", FACTS),
    ("Is it true that {x}?", FACTS),
)


def draw_outside(rng: random.Random) -> str:
    """A question about something that this world does not hold."""
    phrasing, fillings = rng.choice(PHRASINGS)
    return phrasing.format(x=rng.choice(fillings))


def is_outside(text: str) -> bool:
    """Whether the text is one of the questions that `draw_outside` draws."""
    for phrasing, fillings in PHRASINGS:
        head, _, tail = phrasing.partition("{x}")
        within = text[len(head) : len(text) - len(tail)]
        if text == f"{head}{within}{tail}" and within in fillings:
            return True
    return False
