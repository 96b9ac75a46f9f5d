"""
The words of invitation codes.

Owns: the list: common words, of which no two are mistaken for each other by one wrong, missing,
additional or swapped letter.
Knows nothing of: codes (L{holepunch.rendezvous.invitation}).
"""

from __future__ import annotations

_TEXT = """
    acorn actor admiral adult advent afford agency alarm alcove almond alpine amber anchor angel
    animal ankle antenna apron arcade archive arctic arena arrow artist ascent asphalt atlas
    atom august author autumn award axle bacon bagel bamboo bandit banjo banner barber barley
    barrel basil basket beaver bedroom beehive bicycle birch bishop blanket blossom blouse
    boiler bonfire border bottle boulder bracelet branch bravo breeze brick bronze broom brother
    budget buffalo bugle bumper bundle butter button cabbage cabin cable cactus camera canal
    candle canvas captain caramel cardinal cargo carpet carrot castle cathedral cedar cement
    census ceramic chalk chamber champion channel chapel cheese cherry chess chicken chocolate
    chorus cider cinema circus citizen clarinet clay climate clock cobalt coconut coffee collar
    colony comet concert copper coral cosmos cotton cousin cradle crater crayon cricket
    crossword crown crystal curtain cushion cymbal cypress daisy delta denim desert diamond
    diary dinner dolphin domino donkey doorbell dragon drum dune dwarf early easel echo editor
    elevator emerald engine escort estate evening exhibit explorer express fabric falcon family
    farmer fern ferry festival fiddle figure finger firefly fireplace flagpole flamingo flannel
    folder forest formula fountain freight furnace galaxy gallery garage garlic gazelle general
    geyser giant goblet golden gondola gorilla grammar granite grape gravel gypsum hammer
    hammock harbour harvest hatchet hazel headline hedgehog helmet hermit heron hickory honey
    hydrant hyena iceberg icicle import inbox jacket jaguar janitor jasmine jelly jersey journal
    judge jungle kangaroo kayak kernel kettle kidney kingdom kitchen kitten knight koala label
    ladder lagoon lawyer lemon lettuce library lifeboat lilac lizard lobster locket lotus
    lullaby lunar luxury lyric machine magnet mailbox mammoth mandolin mango mantle maple
    marathon marble market maroon mascot meadow mercury meteor mineral mirror mosaic mosquito
    muffin mural museum mushroom mustard narwhal nectar needle neptune nickel nomad noodle
    notebook nugget nutmeg nylon oasis oatmeal object october octopus office olive onion opal
    opera orbit orchard orchid organ origami otter outpost oven oxygen oyster paddle palace
    panther parcel parsley pasture patio peacock peanut pearl pelican pepper petal phantom
    pickle picnic pillow pilot pineapple pirate planet plaster plaza poem polar poppy porcelain
    portrait postcard potato prairie printer profile propeller puma pumpkin puppet puzzle quarry
    quartz quilt quiver rabbit raccoon radar radio radish raft raisin razor recipe referee
    reindeer ribbon ripple river robin rooster rosemary rowboat rubber ruby rudder runway salad
    salmon salute sample sandal sapphire saturn savanna saxophone scallop scarf school science
    scorpion season sequoia shadow shampoo sherbet sheriff shovel shrimp signal skeleton sketch
    slipper snorkel soldier sonata spaniel sparrow spider spinach spiral sponge statue stereo
    sticker stocking storm studio suburb sugar suitcase sunset surfer syrup tablet tadpole
    target teacher teapot temple tennis terrace textile theatre thermos thimble thunder timber
    toast tobacco topaz torch tornado tortoise toucan tower tractor trapeze treasure triangle
    trombone tropic trumpet tulip tundra tunnel turbine turnip turquoise turtle tuxedo twilight
    typhoon ukulele umbrella unicorn universe uranium urchin vacuum valley vapour vault velvet
    vessel viaduct vicar village vinegar vineyard violet violin visitor voyage vulture waffle
    wagon waiter wallet walnut walrus waltz wasp waterfall wedding whale wheat whisper widow
    winter wolf woodland wool workshop yellow yodel zebra zenith zeppelin zigzag zinc zipper
    zodiac
"""

WORDS = tuple(_TEXT.split())
"""
512 of them, so a word is 9 bits. Codes stay readable as long as none is taken out.
"""
