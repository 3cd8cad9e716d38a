"""
The stage of the chaos suite: what runs, what is done to it, and what /coverage said meanwhile.

The truth is the simulator's log: every post that matched rules, when it was made, and on which connection the kernel
took it.  The claim is /coverage, which is asked all the time.  The tests compare the two.

`times`      how long things last, compressed or as at X
`sightings`  the claim
`stage`      workers, broker, simulator, and the faults
`alone`      a connector that has its stream to itself
`members`    connectors that share a stream, and come and go
`wanted`     which posts each of them is to have
"""
